"""Embeds the texts of a file: reads them, embeds them in parts that survive a crash, writes the vectors."""
