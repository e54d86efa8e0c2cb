//! The operator's tool `rustbalance`.
