"""Where links in messages lead while there is no front end: GraphiQL, with the operation that shows what they are about.

With SPA_URL set, links lead there and not here.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph import ids
from graph.routes import landing

_JOB = """query Job($id: ID!) {
  job(id: $id) {
    title state message errorCode errorMessage
    progress { phase done total percent }
    attempts { number outcome errorCode errorMessage httpStatus startedAt endedAt }
    log(last: 10) { nodes { level code message } }
  }
}
"""
_NOTIFICATIONS = """query Notifications {
  unreadNotificationCount
  notifications(first: 20) {
    nodes { id event title count readAt createdAt items { title body error jobId url } deliveries { channel state error } }
  }
}
"""
_SETTINGS = """query NotificationSettings {
  notificationPreferences {
    version enabled defaultChannel mutedUntil
    rules { event jobKind channels critical }
    defaults { event channels critical }
  }
  slackConnection { status reason version }
}
"""


async def job(request: Request) -> Response:
    """One job; what is no id of one is none."""
    text = request.path_params["id"]
    if ids.find("job", text) is None:
        return Response("There is no such page.", 404, media_type="text/plain")
    return await landing.show(request, [{"title": "Job", "query": _JOB, "variables": {"id": text}}])


async def notifications(request: Request) -> Response:
    """The notifications of whoever signs in."""
    return await landing.show(request, [{"title": "Notifications", "query": _NOTIFICATIONS}])


async def settings(request: Request) -> Response:
    """What to be told, and Slack."""
    return await landing.show(request, [{"title": "Notification settings", "query": _SETTINGS}])


ROUTES = (
    Route("/jobs/{id}", job),
    Route("/notifications", notifications),
    Route("/settings/notifications", settings),
    Route("/settings/integrations/slack", settings),
)
