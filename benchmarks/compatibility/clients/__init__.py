"""Python libraries that know nothing of us, on the folder as published: every head, every CPU target, fp32 and int8."""
