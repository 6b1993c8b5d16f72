-- Removes the outbox of @TABLE@. It holds none of the reconciler's state.
begin;
drop trigger if exists reconciler_outbox_rows on @TABLE@;
drop trigger if exists reconciler_outbox_changes on @TABLE@;
drop function if exists reconciler_outbox.tell();
drop table if exists reconciler_outbox.outbox;
drop schema if exists reconciler_outbox;
commit;
