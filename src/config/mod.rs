//! The configuration file: TOML in, typed and validated values out.
