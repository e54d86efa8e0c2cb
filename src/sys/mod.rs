//! The operating system: inherited sockets, notifications to the service manager, capabilities, exit codes.
