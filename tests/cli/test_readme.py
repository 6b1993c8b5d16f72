"""What the README shows can be used as it is."""

import re
import textwrap
from pathlib import Path

from reconciler.settings import load

README = Path(__file__).parents[2] / "README.md"
ENVIRONMENT = {
    "RECONCILER_STATE_URL": "sqlite:///state.db",
    "RECONCILER_PROFILES_URL": "postgresql://reader@db.example.com/postgres",
    "ACME_US_CLIENT_ID": "id",
    "ACME_US_CLIENT_SECRET": "secret",
}


def test_its_settings_files_are_read_without_a_complaint(tmp_path: Path) -> None:
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    config, stores = tmp_path / "reconciler.yaml", tmp_path / "stores.yaml"
    config.write_text(textwrap.dedent(blocks[0]))
    stores.write_text(textwrap.dedent(blocks[1]))
    loaded = load(config, stores, ENVIRONMENT)
    assert [s.name for s in loaded.stores] == ["acme-us"]
    assert loaded.settings.profiles.table == "public.customers"
