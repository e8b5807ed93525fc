"""The files that ship with rampwatch: sites, schemas, samples, the calibration, the broker's settings."""
