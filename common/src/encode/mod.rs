//! Alerts in the form a reader wants: pure functions with golden tests.
