"""FiftyOne's database and App, started, waited for, and ended."""
