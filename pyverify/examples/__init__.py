"""Verifier services to start from: threads (:mod:`.threaded`) and asyncio (:mod:`.asynchronous`)."""
