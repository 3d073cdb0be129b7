"use strict";

// The document lies next to the page, wherever a proxy has put both.
SwaggerUIBundle({
  url: new URL("openapi.json", window.location.href).href,
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  displayRequestDuration: true,
  persistAuthorization: false,
  // Without this the page asks a validator elsewhere what it thinks of the document.
  validatorUrl: null,
});
