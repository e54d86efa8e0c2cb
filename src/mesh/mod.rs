//! The WireGuard interface `wg-rb` and the sealed datagrams that cross it.
