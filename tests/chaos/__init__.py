"""Chaos: whole processes of `run`, a real Postgres, two simulated shops, and everything that can go wrong, by a seed.

    make soak                       ten minutes, a new seed, which is printed
    make soak SEED=7 MINUTES=2      that seed again
    python -m tests.chaos --help    the same with every option

What runs: three replicas of `reconciler run` on one Postgres (one through PgBouncer in transaction mode, one through a
network that can be cut, one with a clock that can be moved), two shops of the simulator over HTTP (`on_leave: delete` in
one, `keep` in the other), an app that owns the profiles table, and a sender of Clerk's webhooks that loses, doubles and
delays.

| module | what it does |
|---|---|
| `people.py` | the truth: users as they should be, guests, and bystanders that are not ours to touch |
| `stream.py` | changes of that truth, one after the other, the same for the same seed |
| `app.py` | the app that owns the profiles table: its writes, its migrations, its reloads |
| `clerk.py` | Clerk's webhooks: signed, late, doubled, out of order, repeated until they are taken |
| `directory.py` | Clerk's Backend API, which says who is still there |
| `shops.py` | the simulated shops: what staff do, and a biography of every customer there ever was |
| `cluster.py` | Postgres, PgBouncer and the replicas: started, killed, frozen, restarted |
| `replica.py` | one replica: the command itself, with a clock that can be moved and, if asked, shorter pauses |
| `policy.py` | stores.yaml of both shops |
| `plan.py` | which fault happens when, from a seed |
| `faults.py` | what each fault does, and how it ends |
| `watch.py` | transactions on the profiles, health, memory, threads and descriptors, while all this happens |
| `calm.py` | what must be so before quiet begins |
| `checker.py` | the verdict. Plain values in, violations out; imports nothing of the product |
| `consent.py` | answers to marketing, in the app and in Shopify, and the verdict on what was written of them |
| `report.py` | one table |
| `soak.py` | puts these together: run, settle, keep quiet, check |

A violation is never excused by luck. What a world like this makes impossible is left out by rule, and the rule is written
beside the check: see `checker.py` and `watch.py`.
"""
