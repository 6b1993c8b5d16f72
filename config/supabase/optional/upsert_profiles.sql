-- For `clerk.upsert_profiles: true` and `reconciler backfill clerk`: the reconciler writes the rows that Clerk's webhooks
-- announce, so the app needs no code for it.
grant insert, update on public.customers to reconciler_reader;
create policy reconciler_writes on public.customers for all to reconciler_reader using (true) with check (true);
