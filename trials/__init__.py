"""What the service must stand: any bytes, wrong peers, and long use. Answers are compared with float64 meanwhile."""
