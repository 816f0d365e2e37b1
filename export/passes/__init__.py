"""Graph passes: one file each, in a folder for what they are for; `table` names them all."""
