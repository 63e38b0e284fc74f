"""Ali-CCP's raw files as published."""
