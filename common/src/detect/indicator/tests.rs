//! What is on a feed is found, weighed as docs/detection.md says, and counted at doublings.
