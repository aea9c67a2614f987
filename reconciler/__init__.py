"""The reconciler: keeps a host true to a platform repository.

    git ──▶ desired ─┐                              ┌─▶ history ──▶ web (reads)
                     ├─▶ plan (pure) ──▶ apply ─────┤
    host ─▶ observed ┘        ▲                     └─▶ docker, caddy, upstream files
                              └── requests

Each subpackage is one arrow or box of this picture; tests/unit/test_architecture.py holds who may import whom.
"""
