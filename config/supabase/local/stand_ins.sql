-- What a Supabase project has and a plain Postgres has not, as far as the migrations need it: the roles of the API, and
-- auth.jwt() with the claims of the request. For compose.yaml and the tests; never run it in a Supabase project.
do $roles$
declare
  name text;
begin
  foreach name in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = name) then
      execute pg_catalog.format('create role %I nologin noinherit', name);
    end if;
  end loop;
end
$roles$;
alter role service_role bypassrls;
grant usage on schema public to anon, authenticated, service_role;

create schema auth;
grant usage on schema auth to anon, authenticated, service_role;
create function auth.jwt() returns jsonb language sql stable as $jwt$
  select nullif(current_setting('request.jwt.claims', true), '')::jsonb
$jwt$;

create schema supabase_functions;
create table supabase_functions.sent (at timestamptz not null default now(), url text not null, body jsonb not null);
create function supabase_functions.http_request() returns trigger language plpgsql security definer set search_path = ''
as $http_request$
begin
  insert into supabase_functions.sent (url, body) values (
    tg_argv[0],
    pg_catalog.jsonb_build_object(
      'type', tg_op, 'table', tg_table_name, 'schema', tg_table_schema,
      'record', case when tg_op <> 'DELETE' then pg_catalog.to_jsonb(new) end,
      'old_record', case when tg_op <> 'INSERT' then pg_catalog.to_jsonb(old) end
    )
  );
  return null;
end
$http_request$;
