"""A deterministic simulation of `run`: everything in one thread, under one seeded scheduler, with virtual time.

    python -m tests.simulation                      runs for ten minutes, from a new seed on
    python -m tests.simulation --seed 7 --runs 1    the run of this seed again, as it was
    python -m tests.simulation --postgres           with the state on a modelled Postgres
    python -m tests.simulation --long               weeks a run

| module | what it does |
|---|---|
| `scheduler.py` | tasks, turns and the virtual clock: which task is next is drawn from the seed |
| `threads.py` | what the product's threads wait with, as tasks |
| `ways.py` | the ways to state, profiles and shops: a scheduling point before and after each call, and what is lost there |
| `postgres.py` | the modelled Postgres: read committed, locks, waits, lost connections |
| `dialect.py` | statements that are written for Postgres, as the model runs them |
| `replica.py` | one replica: the product's dispatcher, workers, scans, probes and intake of webhooks |
| `outside.py` | the app and its table, Clerk, and the webhooks of the shops |
| `reloads.py` | what owners do to the table as a whole: swap it, empty it, load rows first and columns later |
| `waves.py` | stores.yaml as it is edited, the operator of rollouts, and the verdict on their waves |
| `person.py` | a person who runs `plan`, `apply` and `undo` beside the replicas |
| `saved.py` | saved plans that are applied later, and the verdict on what they wrote |
| `undo.py` | what was written is taken back and corrected later, and the verdict on both |
| `redactions.py` | `customers/redact`, `app/uninstalled` and `shop/redact`, and the verdict on what is kept |
| `bulk.py` | the first sync and later plans by bulk operations, and what goes wrong between their stages |
| `faults.py` | faults that last: crashes, freezes, outages, reloads of the table, jumps of a clock |
| `simulation.py` | one run: a storm, calm, quiet, and the verdict of `tests/chaos/checker.py` |
| `sizes.py` | how large a run is, and how fast its clocks go |
| `fairness.py` | requests that wait although a replica could take them |
| `retention.py` | what is in the state after the calm and should not be |
| `minimise.py` | makes a run that fails smaller |
| `history.py` | faults of the past, put back, each of which a run must find |

People and staff do what they do in the chaos (`tests/chaos/stream.py`), and the checker is that of the chaos.
"""
