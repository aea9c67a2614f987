"""What the machine must have, how to check it and how to bring it there."""
