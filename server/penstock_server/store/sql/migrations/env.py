"""What Alembic executes: the migrations of one service, on the connection that `migrations.upgrade` gives."""

from alembic import context

attributes = context.config.attributes

context.configure(
    connection=attributes["connection"],
    version_table=attributes["tables"].revision,
    version_table_pk=False,  # its name would be cut
    tables=attributes["tables"],
    store_dialect=attributes["dialect"],
)
with context.begin_transaction():
    context.run_migrations()
