"""Where things are kept. A store writes what it is given and answers what it is asked; it decides nothing."""
