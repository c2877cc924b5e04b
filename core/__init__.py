"""What two or more of Fanfare's processes share."""
