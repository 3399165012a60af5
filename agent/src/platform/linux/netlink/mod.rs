//! The layers without kernel programs: netlink answers, and tables that are polled.
