//! Who a process is: what /proc, the package databases and the executable itself tell.
