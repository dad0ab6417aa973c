"""SOAP login(), as long as it lives (salesforce.md 1.1, 1.3). Of the SOAP API nothing else is here.

Clients cut the answer up as text: sessionId and serverUrl stand without prefix and attributes, faults with `sf:`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, unescape

from scc.sandbox.http import Request, Response
from scc.sandbox.salesforce import auth as logins
from scc.sandbox.salesforce.ids import ORG_ID
from scc.sandbox.salesforce.settings import USER_ID, USERNAME

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce
    from scc.sandbox.salesforce.auth import Auth

NEWEST = 64  # login() does not exist in 65.0 and later
OLDEST = 31
ENTITIES = {"&quot;": '"', "&apos;": "'", "&#39;": "'", "&#34;": '"'}


def login(request: Request, version: str, salesforce: Salesforce, auth: Auth) -> Response:
    body = request.body.decode("utf-8", "replace")
    major = int(version.partition(".")[0]) if re.fullmatch(r"\d{1,3}\.\d", version) else 0
    if 20 < major < OLDEST or not major:
        return fault("UNSUPPORTED_API_VERSION", "UNSUPPORTED_API_VERSION: Invalid Api version specified on URL")
    if re.search(r"<(?:\w+:)?logout\b", body):
        return answered("<logoutResponse/>")
    if not re.search(r"<(?:\w+:)?login\b", body):
        return fault("INVALID_OPERATION", "INVALID_OPERATION: the sandbox knows no SOAP call but login")
    if major > NEWEST or not salesforce.limits.soap_login:
        shown = f"INVALID_OPERATION: SOAP API login() is disabled by default in this org or API version {version}."
        return fault("INVALID_OPERATION", shown)
    if not logins.knows(element(body, "username"), element(body, "password")):
        shown = "INVALID_LOGIN: Invalid username, password, security token; or user locked out."
        return fault("INVALID_LOGIN", shown)
    server = f"{salesforce.base_url}/services/Soap/u/{version}/{ORG_ID}"
    return answered(f"""<loginResponse><result>
      <metadataServerUrl>{server.replace("/u/", "/m/")}</metadataServerUrl>
      <passwordExpired>false</passwordExpired><sandbox>true</sandbox>
      <serverUrl>{server}</serverUrl><sessionId>{auth.new_token()}</sessionId>
      <userId>{USER_ID}</userId>
      <userInfo>
        <accessibilityMode>false</accessibilityMode><currencySymbol>$</currencySymbol>
        <organizationId>{ORG_ID}</organizationId><organizationName>Acme Test</organizationName>
        <sessionSecondsValid>{salesforce.limits.token_seconds}</sessionSecondsValid>
        <userEmail>{USERNAME}</userEmail><userFullName>Integration User</userFullName>
        <userId>{USER_ID}</userId><userLanguage>en_US</userLanguage><userLocale>en_US</userLocale>
        <userName>{USERNAME}</userName><userTimeZone>GMT</userTimeZone>
        <userType>Standard</userType>
      </userInfo></result></loginResponse>""")


def element(body: str, name: str) -> str | None:
    """The text of the first element with this name, whatever its prefix."""
    found = re.search(rf"<(?:\w+:)?{name}(?:\s[^>]*)?>(.*?)</(?:\w+:)?{name}>", body, re.DOTALL)
    return unescape(found[1], ENTITIES).strip() if found else None


def answered(inside: str) -> Response:
    document = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>{inside}</soapenv:Body></soapenv:Envelope>'
    )
    return Response(200, document.encode(), "text/xml; charset=utf-8")


def fault(code: str, message: str) -> Response:
    """A SOAP fault: HTTP 500 by the protocol."""
    document = (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
        'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:sf="urn:fault.partner.soap.sforce.com" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>sf:{code}</faultcode><faultstring>{escape(message)}</faultstring>"
        f'<detail><sf:LoginFault xsi:type="sf:LoginFault"><sf:exceptionCode>{code}</sf:exceptionCode>'
        f"<sf:exceptionMessage>{escape(message.partition(': ')[2] or message)}</sf:exceptionMessage></sf:LoginFault>"
        "</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
    return Response(500, document.encode(), "text/xml; charset=utf-8")
