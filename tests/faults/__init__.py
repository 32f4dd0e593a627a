"""What must survive faults: damaged files, full disks, killed processes, signals at any moment."""
