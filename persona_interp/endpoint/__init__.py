"""Chat completions of any OpenAI-compatible server: many in flight, cached, counted; the only user of `openai`."""
