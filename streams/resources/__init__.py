"""The files that ship with rampwatch: sites, schemas, samples, calibration, local broker."""
