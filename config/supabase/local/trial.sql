-- For compose.yaml: passwords of a trial, and three users.
alter role reconciler_reader login password 'trial';
alter role reconciler_state login password 'trial';

insert into public.customers (clerk_user_id, email, email_verified, first_name, last_name, locale, metadata) values
  ('user_trial_ada', 'ada@example.com', true, 'Ada', 'Lovelace', 'en-GB', '{"brand": "acme"}'),
  ('user_trial_grace', 'grace@example.com', true, 'Grace', 'Hopper', 'en-US', '{"brand": "acme"}'),
  ('user_trial_kari', 'kari@example.com', true, 'Kari', 'Nordmann', 'da-DK', '{"brand": "acme"}');
