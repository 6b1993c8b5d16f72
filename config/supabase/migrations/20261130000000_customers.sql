-- The profiles: one row for each Clerk user. Users read their own row, by the session token that Clerk signs
-- (docs/tasks/connect-clerk.md); only the server writes. Anyone who could write this row could claim the email of another
-- person, and with it the customer of that person.
create table public.customers (
  clerk_user_id text primary key check (clerk_user_id like 'user\_%'),
  email text,
  email_verified boolean not null default false,
  first_name text,
  last_name text,
  phone text,
  avatar_url text,
  locale text,
  note text,
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

-- An incremental resync reads the rows that changed since the last one.
create index customers_updated_at on public.customers (updated_at);

alter table public.customers enable row level security;
revoke all on public.customers from anon, authenticated;
grant select on public.customers to authenticated;
grant select, insert, update, delete on public.customers to service_role;

-- auth.uid() would fail: it expects a UUID, and Clerk's ids are text. The subquery is computed once per statement.
create policy customers_read_own on public.customers for select to authenticated
  using (clerk_user_id = (select auth.jwt() ->> 'sub'));
