"""A model hub, spoken to with huggingface_hub: names, downloads into its cache, what its errors mean."""
