"""The lab: machines, network, internet, images, snapshots and faults."""
