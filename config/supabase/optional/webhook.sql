-- Reports changed rows to the reconciler by a database webhook (extension pg_net). The alternative is outbox.sql, which
-- loses nothing while the reconciler is down and needs no token. Replace YOUR-HOST and YOUR-TOKEN: every role that may read
-- the catalogue can read the token, so use `server.nudge_token`, which may only nudge.
create trigger reconciler_webhook
  after insert or update or delete on public.customers
  for each row execute function supabase_functions.http_request(
    'https://YOUR-HOST/webhooks/supabase', 'POST',
    '{"Content-Type":"application/json","X-Reconciler-Token":"YOUR-TOKEN"}', '{}', '5000');
