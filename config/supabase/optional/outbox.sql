-- Reports changed rows of "public"."customers" to the reconciler immediately. Optional: without it the next resync finds the change.
-- Run it as the owner of the table (Supabase: the SQL editor). Safe to repeat.
--
-- Every write of the table calls the function, including sign-ups. So it runs as its owner, never waits, and ignores its
-- own errors: a lost hint only delays a sync, but a failed sign-up loses a user.
begin;

create schema if not exists reconciler_outbox;

create table if not exists reconciler_outbox.outbox (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  clerk_user_id text not null
) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

alter table reconciler_outbox.outbox enable row level security;

create or replace function reconciler_outbox.tell() returns trigger
  language plpgsql security definer
  set search_path = ''
  set lock_timeout = '50ms'
as $tell$
declare
  users text[];
begin
  if tg_op = 'INSERT' then
    users := array[new."clerk_user_id"::text];
  elsif tg_op = 'DELETE' then
    users := array[old."clerk_user_id"::text];
  else
    users := array[old."clerk_user_id"::text, new."clerk_user_id"::text];
  end if;
  lock table reconciler_outbox.outbox in row exclusive mode nowait;
  insert into reconciler_outbox.outbox (clerk_user_id)
    select distinct named.clerk_user_id
    from pg_catalog.unnest(users) as named (clerk_user_id)
    where named.clerk_user_id is not null;
  if pg_catalog.pg_notification_queue_usage() < 0.5 then  -- a full queue would fail the commit
    perform pg_catalog.pg_notify('reconciler_outbox', '');
  end if;
  return null;
exception when others then
  raise log 'reconciler_outbox: a change was not reported (%)', sqlstate;
  return null;
end
$tell$;

drop trigger if exists reconciler_outbox_rows on "public"."customers";
create trigger reconciler_outbox_rows
  after insert or delete on "public"."customers"
  for each row execute function reconciler_outbox.tell();

-- *<> is `is distinct from` byte by byte. It can also compare json columns, for which the other would fail the update.
drop trigger if exists reconciler_outbox_changes on "public"."customers";
create trigger reconciler_outbox_changes
  after update on "public"."customers"
  for each row when (old.* operator(pg_catalog.*<>) new.*)
  execute function reconciler_outbox.tell();

-- Only the owner and the role that reads the profiles have access.
revoke all on schema reconciler_outbox from public;
revoke all on reconciler_outbox.outbox from public;
revoke all on function reconciler_outbox.tell() from public;
do $revoke$
declare
  stranger text;
begin
  for stranger in
    select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role')
  loop
    execute pg_catalog.format('revoke all on schema reconciler_outbox from %I', stranger);
    execute pg_catalog.format('revoke all on reconciler_outbox.outbox from %I', stranger);
    execute pg_catalog.format('revoke all on sequence reconciler_outbox.outbox_id_seq from %I', stranger);
    execute pg_catalog.format('revoke all on function reconciler_outbox.tell() from %I', stranger);
  end loop;
end
$revoke$;

grant usage on schema reconciler_outbox to "reconciler_reader";
grant select, delete, update (id) on reconciler_outbox.outbox to "reconciler_reader";
drop policy if exists reconciler_takes on reconciler_outbox.outbox;
create policy reconciler_takes on reconciler_outbox.outbox for all to "reconciler_reader" using (true);

commit;
