/** Runs before the modules, in any browser: says what is wrong where the page cannot work, and keeps the list in sight. */
(function () {
  "use strict";
  var LATE = 30000;
  var fail = function (line) {
    if (document.body.dataset.ready) return;
    document.body.dataset.broken = "true";
    document.getElementById("notice").hidden = false;
    document.getElementById("notice").textContent = document.getElementById("ask").content.textContent;
    var row = document.createElement("li");
    row.textContent = line;
    document.getElementById("staff-lines").append(row);
  };
  var staff = document.getElementById("staff");
  document.getElementById("staff-open").onclick = function () {
    staff.showModal();
  };
  document.getElementById("staff-close").onclick = function () {
    staff.close();
  };
  if (location.protocol === "file:")
    return fail("Opened as a file, which browsers do not let run. Serve this folder: python -m http.server, then open http://localhost:8000/");
  addEventListener(
    "error",
    function (event) {
      if (event.target.tagName === "SCRIPT") fail("A script of the page is missing or has the wrong type: " + event.target.getAttribute("src"));
    },
    true,
  );
  setTimeout(function () {
    fail("The page did not start within " + LATE / 1000 + " seconds: a file is missing, or this browser is older than 2023.");
  }, LATE);
})();
