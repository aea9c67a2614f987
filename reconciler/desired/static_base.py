"""What Gitstead's own image for static sites is made of: Caddy's binary and this configuration, nothing else.

Read by `host.base_image` and `host.base_recipes`. Copying the 50 MB binary into every context costs half a
second a build, and the BuildKit of engine 20.10 has no named contexts (`unsupported frontend capability
moby.buildkit.frontend.contexts`): so it is an image.
"""

from __future__ import annotations

STATIC_BASE_DOCKERFILE = """\
# The base of type static: made once in a context that holds Caddy's binary as `caddy` and the `Caddyfile`.
FROM scratch
COPY caddy /caddy
COPY Caddyfile /Caddyfile
ENV PORT=8000 XDG_CONFIG_HOME=/nonexistent XDG_DATA_HOME=/nonexistent
USER 10001:10001
CMD ["/caddy", "run", "--config", "/Caddyfile", "--adapter", "caddyfile"]
"""
STATIC_BASE_CADDYFILE = """\
{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
		exclude tls
	}
}

:{$PORT:8000} {
	root * /srv
	encode zstd gzip
	@hidden {
		path_regexp /\\.
		not path /.well-known/*
	}
	error @hidden 404
	file_server
	handle_errors {
		@page file /{err.status_code}.html
		handle @page {
			rewrite * {file_match.relative}
			file_server {
				status {err.status_code}
			}
		}
		respond "{err.status_code} {err.status_text}"
	}
}
"""
