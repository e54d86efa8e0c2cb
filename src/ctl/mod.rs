//! The operator's tool `rustbalance`: asks, computes and shows; changes nothing.

pub mod answer;
pub mod command;
pub mod inspect;
pub mod moment;
