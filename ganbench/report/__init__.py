"""Results made readable: tables and the files that people export."""
