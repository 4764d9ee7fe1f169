"""Baselines to and from files that others read and write: one format a module, pure functions of bytes and values.

Reading is strict: what a file says is either understood whole or refused, with the place in the file and what may stand
there. Nothing is ever fetched, whatever a file refers to (SPEC attack 110).
"""
