//! Holds the onion identity: collects introduction points, signs and posts the merged descriptor.
