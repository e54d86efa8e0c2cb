//! Carries client connections from tor to the target.
