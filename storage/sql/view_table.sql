-- View of one table over the parts of all attached runs; {table} is one of `storage/tables.py`.
create or replace view {table} as
select
    run_parts.run,
    parts.* exclude (filename)
from {table}_parts as parts
inner join run_parts on parts.filename = run_parts.filename and run_parts.table = '{table}'
