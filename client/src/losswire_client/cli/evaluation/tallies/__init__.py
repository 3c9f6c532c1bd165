"""What is added up of the losses of a file, each sum in a file."""
