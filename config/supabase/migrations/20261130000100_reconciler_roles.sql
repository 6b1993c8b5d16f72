-- Two roles of the reconciler: one reads the profiles, one keeps the state in a schema of its own. Neither can do what the
-- other does. They cannot log in until each has a password; set both in the SQL editor, never in a migration:
--   alter role reconciler_reader login password '…';
--   alter role reconciler_state login password '…';
do $roles$
declare
  name text;
begin
  foreach name in array array['reconciler_reader', 'reconciler_state'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = name) then
      execute pg_catalog.format('create role %I nologin nocreatedb nocreaterole noinherit', name);
    end if;
  end loop;
end
$roles$;

grant usage on schema public to reconciler_reader;
grant select on public.customers to reconciler_reader;

-- Required: with row level security and no policy, Postgres returns no rows and no error, as if every user had left.
create policy reconciler_reads on public.customers for select to reconciler_reader using (true);

-- The first `reconciler db upgrade` creates the schema `reconciler`. Never add it to "Exposed schemas".
do $state$
begin
  execute pg_catalog.format('grant create on database %I to reconciler_state', pg_catalog.current_database());
end
$state$;
