"""What people write first: FastAPI in front of sentence-transformers.

    python -m benchmarks.server.plain MODEL PORT

The model runs on the event loop, a request at a time with all threads: on threads of a pool, requests would share the
cores and each be slower.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer


class Request(BaseModel):
    """The body of /v1/embeddings."""

    input: list[str]


def application(folder: str) -> FastAPI:
    """POST /v1/embeddings."""
    model, app = SentenceTransformer(folder, device="cpu"), FastAPI()

    @app.post("/v1/embeddings")
    async def embeddings(body: Request) -> dict[str, Any]:
        vectors = model.encode(body.input, show_progress_bar=False)
        return {"data": [{"index": index, "embedding": vector.tolist()} for index, vector in enumerate(vectors)]}

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
