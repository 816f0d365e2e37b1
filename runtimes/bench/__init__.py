"""`bert-onnx bench`: speed by the scenarios of MLPerf inference, and retrieval quality, of variants here."""
