"""The commands of `lowbit`, one file a group."""
