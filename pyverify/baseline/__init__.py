"""What a machine should measure."""
