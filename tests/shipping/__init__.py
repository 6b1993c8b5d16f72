"""What leaves the project: packages, image, action, manifests, SQL for Supabase, and the pages that operators follow."""
