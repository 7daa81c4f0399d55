//! The simulated world of Lectern: a clock, links and clients, all driven by one seed.
